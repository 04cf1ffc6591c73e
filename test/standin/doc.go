// Package standin rotates certificates with the real node program and the real systemd, on
// machines on which a program stands in for a distribution: for an agent of RKE2 and then for one
// of K3s, for MicroK8s, and, with the real Docker, for an API server in a container. It boots a
// copy of this machine's files with systemd-nspawn, which needs root: see "make standin".
package standin
