"""Images, points and crops in and out; everything in µm and (z, y, x)."""
