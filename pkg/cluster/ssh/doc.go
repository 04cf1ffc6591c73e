// Package ssh reaches nodes without the Kubernetes API: it runs the node program over ssh, as
// package kube runs it in pods.
//
// It starts the system's own ssh client and no library: the operator's configuration, agent,
// ProxyJump, known_hosts, hardware keys and Kerberos tickets are then used as they are. It never
// asks for a password of a named host, and never accepts an unknown key of one. For jump hosts the
// operator's own configuration holds.
//
// On a host it needs sh, sha256sum, and root or sudo without a password; the login shell may be
// another one, and may print something. It copies the program for the host's architecture to
// /var/lib/rotate-certs/program, and removes it in the end.
package ssh
