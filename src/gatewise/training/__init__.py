"""gatewise.training"""
