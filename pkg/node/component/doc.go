// Package component works on the running components of a node: it reads the certificates and
// the health of their endpoints, verifies client certificates, reads the state of etcd's
// members, and stops components so that their supervisors start them again.
package component
