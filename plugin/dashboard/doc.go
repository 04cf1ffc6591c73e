// Package dashboard serves the pages of "kubectl rotate-certs dashboard": every cluster of the
// kubeconfig, its certificates, and the dialog that plans and starts a rotation. It is the HTTP
// server alone; package plugin implements [Clusters] with the code of its commands.
package dashboard
