"""gatewise.report"""
