TOLERANCE = 1e-10
failed = False
print(f"{'result':<14} {'difference':>10}  {'not finite on one side':>22}  {'moves by':>10}")
for name, (off, apart, noise) in compare(f, params, direction, data, want).items():
    ok = off <= TOLERANCE and apart == 0
    failed |= not ok
    print(f"{name:<14} {off:>10.1e}  {apart:>22}  {noise:>10.1e}  {'' if ok else 'DIFFERS'}")
if not finite(want):
    print("the loss is no finite number of some example: what its derivatives are there is a convention")
print("differences are relative to the largest number; 'moves by' is what JAX's own result changes by if inputs move by 4 ulp")
sys.exit(failed)
