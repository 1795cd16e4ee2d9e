"""What the published I3D network says of segments: the classes of Kinetics-400, as a check that features are right."""
