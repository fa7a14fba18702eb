"""Writes test/savedmodel/flatten/tf1-control-flow/: conditionals and loops as TensorFlow 1 builds them, in each other.

Run with a Python that has TensorFlow: python scripts/make-tf1-control-flow.py
"""
import os
import shutil

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

t = tf.compat.v1
t.disable_v2_behavior()
t.disable_control_flow_v2()
out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "savedmodel", "flatten", "tf1-control-flow")
shutil.rmtree(out, ignore_errors=True)
with t.Graph().as_default(), t.Session() as session:
    x = t.placeholder(tf.float32, [None, 5, 3], "x")
    p = t.placeholder(tf.bool, [], "p")
    q = t.placeholder(tf.bool, [], "q")
    nested = t.cond(p, lambda: t.cond(q, lambda: x + 1.0, lambda: x * 2.0), lambda: tf.zeros_like(x))
    after = t.cond(p, lambda: nested + 1.0, lambda: nested * 3.0)

    def outer(i, a):
        def inner(j, c):
            return j + 1, c + t.cond(c[0] > 3.0, lambda: 1.0, lambda: 2.0)

        return i + 1, t.while_loop(lambda j, c: j < 3, inner, [0, a])[1]

    rounds = t.while_loop(lambda i, a: i < 4, outer, [0, tf.zeros([2])])[1]
    mapped = t.map_fn(lambda row: row * 2.0, x)
    local = t.get_local_variable("local", [2], initializer=t.ones_initializer(), use_resource=True)
    session.run([t.global_variables_initializer(), t.local_variables_initializer()])
    t.saved_model.simple_save(session, out, {"x": x, "p": p, "q": q},
                              {"after": after, "rounds": rounds, "mapped": mapped, "local": local.read_value()})
shutil.rmtree(os.path.join(out, "variables"), ignore_errors=True)
