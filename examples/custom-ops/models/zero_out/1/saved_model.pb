’
-$
"
ZeroOut
to_zero

zeroed"serve[
?
inputPlaceholder*
dtype0*
shape:ÿÿÿÿÿÿÿÿÿ

zeroedZeroOutinput*ƒ
serving_defaultp
'
input
input:0ÿÿÿÿÿÿÿÿÿ)
output
zeroed:0ÿÿÿÿÿÿÿÿÿtensorflow/serving/predict