// Pins the MetalLB release whose manifests hold the FRR-K8s v0.0.27 CRDs; that FRR-K8s version's own module is not published.
module clarionlb.io/clarion/test/tools/metallb

go 1.26.0
