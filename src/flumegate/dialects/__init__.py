"""Wire formats, pure, strangers to one another. `registry.py` names them; `envelope.py` is what all requests share."""
