"""What joins the maps of several strides."""
