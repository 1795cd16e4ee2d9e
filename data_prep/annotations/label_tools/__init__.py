"""What labelling tools export, as annotations: a module for each tool, and what they share (`labelled`)."""
