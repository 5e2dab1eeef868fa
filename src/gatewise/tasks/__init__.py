"""gatewise.tasks"""
