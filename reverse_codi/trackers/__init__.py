"""One run of a tracker behind one protocol; `reverse_codi.trackers.tracker` opens and closes them."""
