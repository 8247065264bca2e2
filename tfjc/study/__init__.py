"""Studies: several arms, many seeds, one report. Runs are processes; a study reads their records without TensorFlow."""
