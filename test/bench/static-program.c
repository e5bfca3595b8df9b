/* SPDX-License-Identifier: Apache-2.0 */
/* A static program that does nothing: what starting any process costs here. */
int main(void)
{
	return 0;
}
