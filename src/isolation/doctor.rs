//! What this host gives of each layer.
