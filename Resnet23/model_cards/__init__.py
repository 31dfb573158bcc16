"""What a model card says, one part in each module: data sets, intervals, findings, carbon, licence, front matter."""
