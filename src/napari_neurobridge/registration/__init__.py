"""Networks and fits that lay one image, or one set of points, on another."""
