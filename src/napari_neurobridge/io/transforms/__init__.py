"""Maps between spaces as files of other programs, both ways: OME-NGFF, ITK and BigWarp."""
