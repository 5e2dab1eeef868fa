"""gatewise.data"""
