"""The fake provider, a shipped command: every dialect on one port, faults on demand, a ledger of what was served.

`faults`, `asked`, `script` and the files of the dialects are pure: a request in, a body or a stream of events out.
`delivery` alone knows how bytes leave under a fault, `protocol` how they come in, `ledger` what happened. It runs
without the gateway: nothing here imports another room, so that a proof against it proves something.
"""
