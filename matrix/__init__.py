"""The compatibility matrix: data only; this file lets a wheel carry the folder."""
