"""How long ops, the stages of a detector and whole predictions take, and how far that is from what the machine allows."""
