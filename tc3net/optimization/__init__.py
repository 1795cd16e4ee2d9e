"""What moves the network's weights: optimizers, schedules, averages, and what comes from tensorflow-addons."""
