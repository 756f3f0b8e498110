"""Where a request goes and how it is signed: compatible servers are rows of data, the others a file each."""
