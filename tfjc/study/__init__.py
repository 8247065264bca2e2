"""Studies: several arms, many seeds, one report. Runs are processes, and only their records are read: no TensorFlow."""
