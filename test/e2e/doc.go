// Package e2e runs the real plugin, by the real kubectl, against a real cluster, and
// verifies the result independently: with files read on the nodes, handshakes
// with ports, questions to etcd and to the kubelets. It shares no code with what it
// tests.
//
// Its tests carry the build tag e2e and run inside the network namespace of a lab,
// see "make e2e".
package e2e
