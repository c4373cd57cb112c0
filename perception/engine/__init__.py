"""Training and testing on mmengine's Runner."""
