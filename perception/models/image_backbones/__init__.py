"""Networks from pictures to feature maps of several strides."""
