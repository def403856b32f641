"""The entrance: who calls (keyring), what they may (membrane), and how calls come in and answers go out
(server).
"""
