"""Parts of the pipeline that ``api`` puts together."""
