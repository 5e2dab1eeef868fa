"""gatewise.cli"""
