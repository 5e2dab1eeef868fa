"""gatewise.nn"""
