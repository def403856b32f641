"""The entrance: how connections are let in (zap), and how calls come in and answers go out
(server, desk).
"""
