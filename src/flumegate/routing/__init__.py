"""Pure decisions: which target serves a request. Clock and dice, where needed, are arguments."""
