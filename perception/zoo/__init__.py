"""The zoo: what is installed, how large it is and what it is said to reach."""
