//! The palette: k-means over colours, exact nearest colour, and the files it lives in.
