// Package standin rotates certificates with the real node program and the real systemd, on a
// machine on which a program stands in for an agent of RKE2, and then for one of K3s, and on one
// with the real Docker, where a program stands in for an API server in a container. It boots a
// copy of this machine's files with systemd-nspawn, which needs root: see "make standin".
package standin
