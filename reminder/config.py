"""placeholder: to be written"""
