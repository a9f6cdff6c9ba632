"""Sign-off of a Run: signed decisions, signed PDF, audit chain, verification and gate.

Needs the extra ``report`` (pyHanko, WeasyPrint) as soon as there is a signature to make or check.

==================  ===========================================================
``signoff.sign``    record one person's decision on a run
``verify.verify``   check everything about a run's folder, offline
``gate.gate_code``  exit code that a pipeline can promote or stop on
``demo``, ``keys``  who signs: demonstration authority, PKCS#12
``audit``           hash chain of what happened in a store
==================  ===========================================================
"""
