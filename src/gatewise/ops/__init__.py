"""gatewise.ops"""
