"""The chain from an event to a Job that ended well: does each link move?"""
