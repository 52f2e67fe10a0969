
# The log-likelihood of each masked pixel given all that are not, in nats, and the likeliest colours in their place.
masked = torch.rand(tokens.shape) < MASK_PROB
with torch.no_grad():
    logits = forward(masked).logits
log_likelihood = torch.log_softmax(logits, -1).gather(2, tokens[:, :, None])[..., 0][masked]
print("log-likelihood:", log_likelihood.mean().item(), "nats per masked pixel")
to_picture(torch.where(masked, logits.argmax(2), tokens)[0]).save("filled.png")
