"""How long ops, the stages of a detector and whole predictions take, and how near that is to the machine's limits."""
