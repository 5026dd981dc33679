"""Post-training quantisation: ranges from calibration data, then a graph of QuantizeLinear and DequantizeLinear."""
