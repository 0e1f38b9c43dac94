//! A run's histograms as files for other HdrHistogram tools.
