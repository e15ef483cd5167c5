"""One run of a tracker behind one protocol; `reverse_codi.utils.tracker` opens and closes them."""
