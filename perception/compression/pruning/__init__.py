"""Parts of a trained network left out because it does better, or as well, without them."""
