// Package standin rotates certificates with the real node program and the real systemd, on a
// machine on which a program stands in for RKE2. It boots a copy of this machine's files with
// systemd-nspawn, which needs root: see "make standin".
package standin
