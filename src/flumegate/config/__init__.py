"""Every setting with its help line: file and environment become a Config, or a list of located errors.

`load.load` is the way in. Nothing outside this room reads the environment; nothing in a worker imports this room.
"""
