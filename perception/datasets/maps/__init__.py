"""HD maps: what stands in the files of a data set becomes the true map elements around the vehicle."""
